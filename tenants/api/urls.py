"""The API of this app."""

from django.urls import path

from tenants.api import data_centers, directories, events, factors, jobs, me, people, sessions, tokens

urlpatterns = [
    path("tokens/", tokens.Tokens.as_view(), name="token-list"),
    path("tokens/<uuid:uid>/", tokens.TokenDetail.as_view(), name="token-detail"),
    path("data-centers/", data_centers.DataCenters.as_view(), name="data-center-list"),
    path("data-centers/<uuid:uid>/", data_centers.DataCenterDetail.as_view(), name="data-center"),
    path("jobs/", jobs.Jobs.as_view(), name="job-list"),
    path("jobs/<uuid:uid>/", jobs.JobDetail.as_view(), name="job-detail"),
    path("jobs/<uuid:uid>/cancel/", jobs.JobCancel.as_view(), name="job-cancel"),
    path("data-centers/<uuid:uid>/people/", people.People.as_view(), name="people"),
    path("data-centers/<uuid:uid>/people/<uuid:user>/quota/", people.PersonQuota.as_view(), name="person-quota"),
    path(
        "data-centers/<uuid:uid>/people/<uuid:user>/roles/<slug:role>/", people.PersonRole.as_view(), name="person-role"
    ),
    path("data-centers/<uuid:uid>/tokens/", tokens.ServiceTokens.as_view(), name="service-tokens"),
    path("data-centers/<uuid:uid>/tokens/<uuid:token>/", tokens.ServiceTokenDetail.as_view(), name="service-token"),
    path("data-centers/<uuid:uid>/quota/", people.DataCenterQuota.as_view(), name="data-center-quota"),
    path("directories/", directories.Directories.as_view(), name="directory-list"),
    path("directories/test/", directories.DirectoryTry.as_view(), name="directory-try"),
    path("directories/<uuid:uid>/", directories.DirectoryDetail.as_view(), name="directory"),
    path("directories/<uuid:uid>/test/", directories.DirectoryTest.as_view(), name="directory-test"),
    path("directories/<uuid:uid>/groups/", directories.DirectoryGroups.as_view(), name="directory-groups"),
    path(
        "directories/<uuid:uid>/groups/<uuid:group>/roles/<slug:role>/<slug:target>/",
        directories.DirectoryGroupRole.as_view(),
        name="directory-group-role",
    ),
    path("directories/<uuid:uid>/sync/", directories.DirectorySync.as_view(), name="directory-sync"),
    path("directories/<uuid:uid>/simulate/", directories.DirectorySimulate.as_view(), name="directory-simulate"),
    path("factor/", factors.Factor.as_view(), name="factor"),
    path("factor/begin/", factors.FactorBegin.as_view(), name="factor-begin"),
    path("factor/codes/", factors.FactorCodes.as_view(), name="factor-codes"),
    path("factor/remove/", factors.FactorRemove.as_view(), name="factor-remove"),
    path("factor-ranks/", factors.FactorRanks.as_view(), name="factor-ranks"),
    path("users/<uuid:uid>/factor/", factors.UserFactor.as_view(), name="user-factor"),
    path("sessions/", sessions.Sessions.as_view(), name="session-list"),
    path("sessions/<uuid:uid>/", sessions.SessionDetail.as_view(), name="session-detail"),
    path("users/<uuid:uid>/sessions/", sessions.UserSessions.as_view(), name="user-sessions"),
    path("users/", people.Users.as_view(), name="user-list"),
    path("users/<uuid:uid>/", people.UserDetail.as_view(), name="user"),
    path("events/", events.Events.as_view(), name="event-list"),
    path("events/export/", events.EventsExport.as_view(), name="event-export"),
    path("me/", me.Me.as_view(), name="me"),
]
