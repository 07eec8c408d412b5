"""Every parameter of the package: type, default, unit, range and text in one place."""
