"""Thin modules with the names of PySpark's ``pyspark.core``."""
