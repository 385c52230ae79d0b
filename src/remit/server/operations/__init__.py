"""How a declared operation meets its handler: routing, reading, pages, answers."""
