"""What any model has to beat: simple `Scorer`s without torch, each fitted from a split's training events alone."""
