"""The same programs on real PySpark and on sparklab: results, partition layouts and job counts side by side."""
