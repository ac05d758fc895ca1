"""The root map."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import RedirectView
from django.views.i18n import set_language
from drf_spectacular.views import SpectacularAPIView

from portal import views
from tenants.views import factors
from tenants.views.events import event_list, events_export
from tenants.views.jobs import job_cancel, job_close, job_retry
from tenants.views.logins import LogOut, log_in, log_in_code

api = (
    [
        path("", include("tenants.api.urls")),
        path("", include("network.api.urls")),
        path("", include("compute.api.urls")),
    ],
    "api",
)

handler400 = "portal.error_answers.bad_request"
handler403 = "portal.error_answers.forbidden"
handler404 = "portal.error_answers.not_found"
handler500 = "portal.error_answers.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/v1/docs/", views.api_docs, name="api-docs"),
    *(path(entry, require_safe(RedirectView.as_view(pattern_name="api-docs"))) for entry in ("api/", "api/v1/")),
    path("api/v1/", include(api, namespace="api")),
    path("", views.home, name="home"),
    path("search/", views.search, name="search"),
    path("login/", log_in, name="login"),
    path("login/code/", log_in_code, name="login-code"),
    path("factor/", factors.factor, name="factor"),
    path("factor/add/", factors.factor_add, name="factor-add"),
    path("factor/codes/", factors.factor_codes, name="factor-codes"),
    path("factor/remove/", factors.factor_remove, name="factor-remove"),
    path("logout/", LogOut.as_view(), name="logout"),
    path("language/", require_POST(set_language), name="set_language"),
    path("jobs/", views.job_list, name="jobs"),
    path("jobs/drawer/", views.jobs_drawer, name="jobs-drawer"),
    path("jobs/<uuid:uid>/", views.job_detail, name="job"),
    path("jobs/<uuid:uid>/cancel/", job_cancel, name="job-cancel"),
    path("jobs/<uuid:uid>/retry/", job_retry, name="job-retry"),
    path("jobs/<uuid:uid>/close/", job_close, name="job-close"),
    path("events/", event_list, name="events"),
    path("events/export/", events_export, name="events-export"),
    path("", include("tenants.urls")),
    path("", include("network.urls")),
    path("", include("compute.urls")),
    path("theme/", views.set_theme, name="set-theme"),
]
