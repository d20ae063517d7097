"""The shuffle: map tasks combine and bucket into one file each, reduce tasks read their share in map order."""
