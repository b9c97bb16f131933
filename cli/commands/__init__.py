"""One module per subcommand of `laneway`; heavy imports happen inside the commands."""
