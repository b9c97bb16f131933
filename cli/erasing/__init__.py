"""Removes what a stage keeps of one tenant; its dead letters are `cli.tenant_letters`'."""
