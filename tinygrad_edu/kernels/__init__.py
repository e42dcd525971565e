"""Fast paths behind the definitions: fused loops and what runs them."""
