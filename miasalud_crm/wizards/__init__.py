from . import manychat_api_key_create
