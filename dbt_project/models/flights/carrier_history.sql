{{ delay_history(source('flights', 'flights'), by=['carrier', 'origin'], hours={'3h': 3, '24h': 24, '7d': 168}) }}
