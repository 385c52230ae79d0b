"""Model calls: routing, hold and settle, retries, limits."""
