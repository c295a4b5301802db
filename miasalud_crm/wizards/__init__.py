from . import manychat_api_key_create
from . import manychat_test_event
from . import manychat_settings
