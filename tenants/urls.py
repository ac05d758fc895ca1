"""Pages of people and quotas."""

from django.urls import path

from tenants.models.data_center import SYSTEM_UID
from tenants.views import (
    accounts,
    directories,
    explaining,
    factors,
    grants,
    holders,
    people,
    roles,
    tokens,
    viewing,
)

app_name = "tenants"

urlpatterns = [
    path("explain/", explaining.explain, name="explain"),
    path("system/who/", holders.who, {"kind": "system", "uid": SYSTEM_UID}, name="system-who"),
    path("data-centers/<uuid:uid>/who/", holders.who, {"kind": "data_center"}, name="data-center-who"),
    path("data-centers/<uuid:uid>/people/", people.data_center_people, name="people"),
    path("data-centers/<uuid:uid>/people/<uuid:user>/remove/", people.person_remove, name="person-remove"),
    path("data-centers/<uuid:uid>/people/<uuid:user>/share/", people.person_share, name="person-share"),
    path("data-centers/<uuid:uid>/tokens/", tokens.service_token_list, name="service-tokens"),
    path("data-centers/<uuid:uid>/tokens/new/", tokens.service_token_create, name="service-token-create"),
    path(
        "data-centers/<uuid:uid>/tokens/<uuid:token>/revoke/", tokens.service_token_revoke, name="service-token-revoke"
    ),
    path("tokens/new/", tokens.token_create, name="token-create"),
    path("tokens/<uuid:uid>/revoke/", tokens.token_revoke, name="token-revoke"),
    path("data-centers/<uuid:uid>/quota/", people.data_center_quota, name="data-center-quota"),
    path("directories/", directories.directory_list, name="directories"),
    path("directories/new/", directories.directory_create, name="directory-create"),
    path("directories/<uuid:uid>/", directories.directory_detail, name="directory"),
    path("directories/<uuid:uid>/edit/", directories.directory_edit, name="directory-edit"),
    path("directories/<uuid:uid>/test/", directories.directory_test, name="directory-test"),
    path("directories/<uuid:uid>/enable/", directories.directory_enable, {"enabled": True}, name="directory-enable"),
    path("directories/<uuid:uid>/disable/", directories.directory_enable, {"enabled": False}, name="directory-disable"),
    path("directories/<uuid:uid>/remove/", directories.directory_remove, name="directory-remove"),
    path("directories/<uuid:uid>/sync/", directories.directory_sync, name="directory-sync"),
    path("directories/<uuid:uid>/simulate/", directories.directory_simulate, name="directory-simulate"),
    path("directories/<uuid:uid>/groups/<uuid:group>/remove/", directories.group_unmap, name="group-unmap"),
    path("grants/<slug:kind>/<uuid:uid>/", grants.grants, name="grants"),
    path("grants/<slug:kind>/<uuid:uid>/take/", grants.grant_take, name="grant-take"),
    path("roles/", roles.role_list, name="roles"),
    path("roles/new/", roles.role_create, name="role-create"),
    path("roles/<uuid:uid>/", roles.role_detail, name="role"),
    path("roles/<uuid:uid>/edit/", roles.role_edit, name="role-edit"),
    path("roles/<uuid:uid>/remove/", roles.role_remove, name="role-remove"),
    path("users/", people.user_list, name="users"),
    path("users/<uuid:uid>/view/", viewing.view_begin, name="view-begin"),
    path("view/end/", viewing.view_end, name="view-end"),
    path("users/new/", people.user_create, name="user-create"),
    path("users/second-factors/", factors.ranks, name="factor-ranks"),
    path("users/<uuid:uid>/factor/reset/", factors.factor_reset, name="factor-reset"),
    path("users/<uuid:uid>/", accounts.account, name="user"),
    path("users/<uuid:uid>/sessions/end/", accounts.sessions_end, name="sessions-end"),
    path("users/<uuid:uid>/password/", people.user_password, name="user-password"),
    path("users/<uuid:uid>/enable/", people.user_enable, {"enabled": True}, name="user-enable"),
    path("users/<uuid:uid>/disable/", people.user_enable, {"enabled": False}, name="user-disable"),
]
