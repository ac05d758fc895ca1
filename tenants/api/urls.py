"""The API of this app."""

from django.urls import path

from tenants.api import views

urlpatterns = [
    path("tokens/", views.Tokens.as_view(), name="token-list"),
    path("tokens/<uuid:uid>/", views.TokenDetail.as_view(), name="token-detail"),
    path("data-centers/", views.DataCenters.as_view(), name="data-center-list"),
    path("jobs/", views.Jobs.as_view(), name="job-list"),
    path("jobs/<uuid:uid>/", views.JobDetail.as_view(), name="job-detail"),
    path("jobs/<uuid:uid>/cancel/", views.JobCancel.as_view(), name="job-cancel"),
    path("me/", views.Me.as_view(), name="me"),
]
