"""The long-lived worker: jobs of heavy models, and all queue-fed jobs where RabbitMQ carries them."""
