//! Files over HTTP, as far as no bytes are asked for.

use uuid::Uuid;

use super::*;

const FILE: Uuid = Uuid::from_u128(8);

#[tokio::test]
async fn a_file_is_asked_for_as_what_the_caller_says_that_it_is() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let site = site(move |asked| match asked.query.as_ref()? {
        Query::File(query) => {
            heard.lock().unwrap().push(query.clone());
            let file = rpc::Attachment { file_id: query.file_id.clone(), size: 9, ..Default::default() };
            Some(Found::File(rpc::FileResult { file: Some(file), ..Default::default() }))
        }
        _ => None,
    })
    .await;
    let file_id = Bytes::copy_from_slice(FILE.as_bytes());
    let plain = rpc::FileQuery { file_id, ..Default::default() };
    for (query, wanted) in [
        ("", plain.clone()),
        ("?conversation=3&sequence=4", rpc::FileQuery { conversation_id: 3, sequence: 4, ..plain.clone() }),
        ("?user=7", rpc::FileQuery { avatar_of_user: 7, ..plain.clone() }),
        ("?group=3", rpc::FileQuery { avatar_of_conversation: 3, ..plain.clone() }),
    ] {
        let told = site.json(&format!("/api/v1/files/{FILE}{query}")).await;
        assert_eq!(told["file"]["file"], FILE.to_string(), "{query}: {told}");
        assert_eq!(asked.lock().unwrap().pop(), Some(wanted), "{query}");
    }
    for part in ["", "/content", "/thumbnail"] {
        for query in ["user=7&group=3", "group=3&conversation=3&sequence=4", "user=7&sequence=4", "user=0"] {
            let path = format!("/api/v1/files/{FILE}{part}?{query}");
            let (status, answer) = site.call(&Method::GET, &path, None).await;
            assert!(status == 422 && answer.contains("\"invalid\""), "{path}: {status} {answer}");
        }
        let path = format!("/api/v1/files/{FILE}{part}?user=ana");
        assert_eq!(site.call(&Method::GET, &path, None).await.0, 400, "{path}");
    }
    assert!(asked.lock().unwrap().is_empty(), "nothing of it was asked for");
}
