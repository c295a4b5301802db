from . import test_api_key
from . import test_erase
from . import test_hooks
from . import test_identity
from . import test_manychat_apply
from . import test_relay
from . import test_stage_map
from . import test_webhook
