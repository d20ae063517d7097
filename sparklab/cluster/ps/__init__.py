"""The parameter server's transport: server processes, their sockets, and the driver that holds them."""
