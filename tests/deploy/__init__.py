"""What deploys the product: images, compose files, units, manifests. No cloud and no container engine is needed."""
