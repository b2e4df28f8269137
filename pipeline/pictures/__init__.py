"""Pictures for people: labels drawn, and contact sheets."""
