"""Data that ships inside the package: a piece of MetaTool, which ``nudge demo`` runs on."""
