"""The console commands, a file each: options in, one call into the package, what to do next. scripts/ calls them."""
