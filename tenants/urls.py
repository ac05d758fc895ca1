"""Pages of people and quotas."""

from django.urls import path

from tenants.views import people

app_name = "tenants"

urlpatterns = [
    path("data-centers/<uuid:uid>/people/", people.data_center_people, name="people"),
    path("data-centers/<uuid:uid>/people/<uuid:user>/remove/", people.person_remove, name="person-remove"),
    path("data-centers/<uuid:uid>/people/<uuid:user>/share/", people.person_share, name="person-share"),
    path("data-centers/<uuid:uid>/quota/", people.data_center_quota, name="data-center-quota"),
    path("users/", people.user_list, name="users"),
    path("users/new/", people.user_create, name="user-create"),
    path("users/<uuid:uid>/password/", people.user_password, name="user-password"),
    path("users/<uuid:uid>/enable/", people.user_enable, {"enabled": True}, name="user-enable"),
    path("users/<uuid:uid>/disable/", people.user_enable, {"enabled": False}, name="user-disable"),
]
