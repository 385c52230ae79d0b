"""Model calls of users, in three protocols, and the models there are."""
