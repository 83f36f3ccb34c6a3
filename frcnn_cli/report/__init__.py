"""A page that explains an evaluation: what a model gets wrong, why, and what the proposals allowed at best."""
