"""One file a subcommand: options in, one call, a report out."""
