{{ delay_history(source('flights', 'flights'), by=['origin', 'dest'], hours={'24h': 24, '7d': 168}) }}
