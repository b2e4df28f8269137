"""What happens to a chunk, without Ray: its copies through ops and gates, to rows and members."""
