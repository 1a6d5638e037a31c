from .app import StudioOptions as StudioOptions
from .app import page as page
from .app import serve as serve
from .app import web_app as web_app
