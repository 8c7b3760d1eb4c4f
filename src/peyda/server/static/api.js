// The server's API as promises. A refusal becomes an ApiError that carries the problem document.

export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ type: "Unreachable", status: 0, detail: String(error.message || error), hint: "" });
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    body = null;
  }
  if (response.ok && body !== null) return body;
  throw new ApiError(body?.type ? body : { type: "HTTPError", status: response.status, detail: response.statusText, hint: "" });
}

function parameters(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return new URLSearchParams(given).toString();
}

export const health = () => ask("/api/health");
export const photo = (id, signal) => ask(`/api/photos/${id}`, { signal });

export function search({ q, k, after, before }, signal) {
  return ask(`/api/search?${parameters({ q, k, after, before })}`, { signal });
}

export function similar({ like, k, after, before }, signal) {
  return ask(`/api/photos/${encodeURIComponent(like)}/similar?${parameters({ k, after, before })}`, { signal });
}

export function searchByImage({ file, k, after, before }, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  return ask(`/api/search/image?${parameters({ k, after, before })}`, { method: "POST", body: file, headers, signal });
}

export const thumbnailUrl = (id, size) => `/api/photos/${id}/thumbnail?size=${size}`;
export const fileUrl = (id) => `/api/photos/${id}/file`;
