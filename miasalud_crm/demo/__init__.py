from . import conversations
