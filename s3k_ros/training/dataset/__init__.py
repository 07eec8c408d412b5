"""Datasets: one documented folder format, its reader and writer, and the tools of `s3k dataset`."""
