"""What single models add to what every model does, one module per topic."""
