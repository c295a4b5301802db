from . import manychat_api_key_create
from . import manychat_api_key_replace
from . import manychat_correction
from . import manychat_stage_cleanup
from . import manychat_test_event
from . import manychat_id_change
from . import manychat_settings
