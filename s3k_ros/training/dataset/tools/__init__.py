"""Tools for dataset folders, one subcommand of `s3k dataset` each."""
