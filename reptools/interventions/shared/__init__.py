"""What several interventions share; nothing is declared here."""
