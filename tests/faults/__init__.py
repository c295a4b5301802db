"""The proof: what the architecture promises (I1–I9), tried on the running system while its parts are being broken.

``proxy`` stands between the bridges and what they talk to; ``system`` is the stack with those proxies; ``traffic`` is
the people and bots that use it; ``kinds`` are the faults; ``truth`` says what must be the case in the end; ``soak``
puts them together.
"""
