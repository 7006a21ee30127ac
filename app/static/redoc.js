// The API's description by Redoc, from this server alone. Its search would run in a worker made of a
// text, which the content policy does not let run.
window.Redoc.init("/openapi.json", { disableSearch: true, hideDownloadButton: true }, document.getElementById("docs"));
