from . import manychat_demo
