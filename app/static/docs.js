// The API's description by Swagger UI, from this server alone: no validator, no fonts from elsewhere.
window.SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("docs"),
  deepLinking: true,
  validatorUrl: null,
});
