"""`meldflow up`: all services of one machine, and who looks after them."""
