"""An outcome and a budget: forecast, consent, work, verification, receipt, deliverables."""
