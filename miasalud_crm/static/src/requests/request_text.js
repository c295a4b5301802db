/**
 * How a request is written down: for a shell, and for people.
 *
 * Without template literals: what minifies Odoo's bundles takes a quotation mark inside of one for the beginning of a
 * text, and removes blanks after it.
 */

/**
 * @param {string} text
 * @returns {string} as one word for a POSIX shell, whatever it holds
 */
export function quoted(text) {
    return "'" + text.split("'").join("'\\''") + "'";
}

/**
 * @param {{method: string, url: string}} webhook
 * @param {[string, string][]} headers
 * @param {string} body
 * @returns {string} the command that sends the request
 */
export function curl(webhook, headers, body) {
    const words = [["curl", "-X", webhook.method, quoted(webhook.url)]];
    for (const header of headers) {
        words.push(["-H", quoted(header.join(": "))]);
    }
    words.push(["--data-raw", quoted(body)]);
    return words.map((line) => line.join(" ")).join(" \\\n  ");
}

/**
 * @param {{method: string, url: string}} webhook
 * @param {[string, string][]} headers
 * @param {string} body
 * @returns {string} the whole request as HTTP writes it
 */
export function whole(webhook, headers, body) {
    const first = [webhook.method, webhook.url].join(" ");
    return [first, ...headers.map((header) => header.join(": ")), "", body].join("\n");
}
