"""Operations: how they are declared, called, looped over layers, and given their shape."""
