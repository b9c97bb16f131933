"""The long-lived worker of the gpu lane. The lane is not built yet; see the README."""
