"""The API of this app."""

from django.urls import path

from tenants.api import data_centers, events, jobs, me, tokens

urlpatterns = [
    path("tokens/", tokens.Tokens.as_view(), name="token-list"),
    path("tokens/<uuid:uid>/", tokens.TokenDetail.as_view(), name="token-detail"),
    path("data-centers/", data_centers.DataCenters.as_view(), name="data-center-list"),
    path("data-centers/<uuid:uid>/", data_centers.DataCenterDetail.as_view(), name="data-center"),
    path("jobs/", jobs.Jobs.as_view(), name="job-list"),
    path("jobs/<uuid:uid>/", jobs.JobDetail.as_view(), name="job-detail"),
    path("jobs/<uuid:uid>/cancel/", jobs.JobCancel.as_view(), name="job-cancel"),
    path("events/", events.Events.as_view(), name="event-list"),
    path("me/", me.Me.as_view(), name="me"),
]
