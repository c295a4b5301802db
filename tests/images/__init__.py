"""The images, built and run: the whole way of an event through containers, without a container engine."""
