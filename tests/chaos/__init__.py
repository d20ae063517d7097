"""Random RDD programs under random faults on a real local cluster, against the plain-list oracle of the model tests."""
