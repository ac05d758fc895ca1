// The API's documentation. Whoever is logged in may try requests: they go with his session and our CSRF token.
"use strict";

(() => {
  const place = document.getElementById("swagger-ui");
  const csrfToken = () => document.cookie.match(/(?:^|;\s*)csrftoken=([^;]*)/)?.[1] ?? "";

  SwaggerUIBundle({
    url: place.dataset.schema,
    domNode: place,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    requestInterceptor: (request) => {
      if (request.method && request.method !== "GET") request.headers["X-CSRFToken"] = csrfToken();
      return request;
    },
  });
})();
