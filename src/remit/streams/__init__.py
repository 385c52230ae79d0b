"""The kit of streams: kinds, rows, the fenced writer, decisions, folds, children."""
